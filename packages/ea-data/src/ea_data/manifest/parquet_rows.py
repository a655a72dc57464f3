"""Rows of parquet files, by pyarrow."""

from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from ea_data.manifest.columns import check_columns
from ea_data.manifest.errors import ManifestError, RowError

__all__ = ["parquet_rows"]

_BATCH: Final = 4096


def parquet_rows(file: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Numbers of rows from 1, which stand for lines, and rows; `RowError` where no more can be read.

    Raises:
        ManifestError: pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: PLC0415  (an extra)
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise ManifestError(
            f"parquet needs pyarrow ({error}); install it with: pip install 'ea-data[parquet]'"
        ) from error
    number = 1
    try:
        table = pyarrow.parquet.ParquetFile(file)
        check_columns(table.schema_arrow.names)
        for batch in table.iter_batches(_BATCH):
            for row in batch.to_pylist():
                yield number, row
                number += 1
        rows = table.metadata.num_rows
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        yield number, RowError(f"not parquet from here on: {' '.join(str(error).split())}")
        return
    except RowError as error:
        yield number, error
        return
    if number - 1 != rows:
        yield number, RowError(f"{number - 1} rows; the file declares {rows}")
