"""Results as columns: buffers in the layout of Apache Arrow, without an object for each row or value.

A `ColumnDecoder` cuts the columns out of runs of DataRow messages and returns them as a `ColumnBatch`, whose
`ColumnData` are memory that other libraries use as it is: numpy by `__array_interface__`, and pyarrow,
polars, pandas, DuckDB and others by Arrow's C interface.  None of them is imported.
"""

from __future__ import annotations

from .batch import ColumnBatch, ColumnData
from .decoder import ColumnDecoder
from .policy import Numeric, Unfit

__all__ = ["ColumnBatch", "ColumnData", "ColumnDecoder", "Numeric", "Unfit"]
