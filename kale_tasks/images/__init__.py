"""Images: adopted from tars of the landing, or fetched politely and safely."""
