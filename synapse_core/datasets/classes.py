"""Which classes the target has, in which order, and where each of the source's is among them."""

from __future__ import annotations

from synapse_core.datasets.model import NO_CLASS, ClassDef, Item, kind_of
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.report import Losses
from synapse_core.errors import InvalidRequest, did_you_mean


class ClassChoice:
    """The target's classes. is_plain: they are the source's, in its order."""

    def __init__(self, source: list[ClassDef], options: ConvertOptions) -> None:
        """Raises InvalidRequest where a class is asked for that is not there."""
        names = [entry.name for entry in source]
        order = list(range(len(source)))
        if options.classes is not None:
            for name in options.classes:
                if name not in names:
                    raise InvalidRequest(
                        f"There is no class {name!r} in the dataset.{did_you_mean(name, names)}",
                        hint=f"It has {', '.join(names[:30])}{' …' if len(names) > 30 else ''}.",
                    )
            order = [names.index(name) for name in dict.fromkeys(options.classes)]
        elif options.class_order == "name":
            order.sort(key=names.__getitem__)
        self.classes = [source[index] for index in order]
        self.is_plain = order == list(range(len(source)))
        self._place = {old: new for new, old in enumerate(order)}

    def apply(self, item: Item, losses: Losses) -> None:
        """Give an item's annotations the target's labels; those of classes that were not chosen are left
        out.
        """
        kept = []
        for annotation in item.annotations:
            label = annotation.label
            if label != NO_CLASS:
                place = self._place.get(label)
                if place is None:
                    losses.counts[kind_of(annotation), "skipped"] += 1
                    losses.codes["CLASS_NOT_CHOSEN"] += 1
                    continue
                annotation.label = place
            kept.append(annotation)
        item.annotations = kept
