"""The formats in which captions are released. A format is one class: its columns, its rows and what the card says."""
