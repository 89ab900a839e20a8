"""Where files of the lake live: a folder or an S3 prefix behind one interface."""
