"""KALE: knowledge-augmented captions for web images, from alt-text to a published release."""

__version__ = "0.1.0"
