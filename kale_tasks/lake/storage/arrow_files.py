"""What the read-only file systems of Arrow have in common."""

from typing import Any, ClassVar, NoReturn

import pyarrow.fs as pafs


class ReadOnly(pafs.FileSystemHandler):  # type: ignore[misc]
    """Base of a file system that Arrow reads through; files are written by the storage behind it."""

    writer: ClassVar[str]  # what writes instead, for the error

    def normalize_path(self, path: str) -> str:
        return path

    def _refuse(self, *_: Any) -> NoReturn:
        raise NotImplementedError(f"Arrow only reads here; write with {self.writer}.")

    get_file_info_selector = create_dir = delete_dir = delete_dir_contents = _refuse
    delete_root_dir_contents = delete_file = move = copy_file = open_output_stream = open_append_stream = _refuse
