"""How alike captions are in meaning, and what one has that the other has not."""
