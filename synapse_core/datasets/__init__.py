"""Datasets of annotated images: reading them, converting them, and telling what a conversion loses."""
