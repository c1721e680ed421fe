"""A greeting, as slowly and as chattily as asked for."""

from __future__ import annotations

import time

from pydantic import BaseModel, Field

from synapse_core import BaseAction


class GreetParams(BaseModel):
    """Whom to greet, and how."""

    name: str = Field(default="world", min_length=1, max_length=100, description="Whom to greet")
    greeting: str = Field(default="Hello", description="The word to greet with")
    repeat: int = Field(default=1, ge=1, le=1_000_000, description="How many progress steps to report")
    sleep_seconds: float = Field(default=0.0, ge=0, le=3600, description="How long to sleep for each step")


class GreetResult(BaseModel):
    """What was said."""

    text: str
    steps: int


class GreetAction(BaseAction[GreetParams]):
    """Return a greeting; with `repeat` and `sleep_seconds` it is a slow run that reports progress."""

    result_model = GreetResult

    def execute(self) -> GreetResult:
        for step in range(1, self.params.repeat + 1):
            if self.params.sleep_seconds:
                time.sleep(self.params.sleep_seconds)
            self.set_progress(step, self.params.repeat, category="greet")
        text = f"{self.params.greeting}, {self.params.name}!"
        self.log_message(text, "success")
        return GreetResult(text=text, steps=self.params.repeat)
