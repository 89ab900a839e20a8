"""Where releases are published: the Hugging Face Hub, a folder or S3."""
