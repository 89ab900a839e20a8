"""Captioning: dense, fuse and student, over engines that can be swapped."""
