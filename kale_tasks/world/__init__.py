"""A sample world whose truth is known: pictures, alt-texts, a faulty web, and tiny models trained on it."""
