"""A generated sample world whose truth is known: images, alt-texts, a faulty web, and tiny models trained on it."""
