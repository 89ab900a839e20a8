"""What is read in texts, alt-texts and captions alike: sentences, facts, noise, and what is said of nothing."""
