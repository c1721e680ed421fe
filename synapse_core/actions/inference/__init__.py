"""Inference: registered models are loaded from the backend, and a subclass predicts with them."""

from synapse_core.actions.inference.action import BaseInferenceAction, InferenceProgressCategories
from synapse_core.actions.inference.context import InferenceContext

__all__ = ["BaseInferenceAction", "InferenceContext", "InferenceProgressCategories"]
