"""Translates the description of a table into what Iceberg needs to create it."""

import itertools
from collections.abc import Iterator

import pyarrow as pa
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.name_mapping import create_mapping_from_schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import (
    BooleanType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
)

from kale_tasks.lake import columns
from kale_tasks.lake.columns import TableSpec

_SCALARS: dict[pa.DataType, IcebergType] = {
    columns.STRING: StringType(),
    columns.INT: IntegerType(),
    columns.LONG: LongType(),
    columns.DOUBLE: DoubleType(),
    columns.FLOAT: FloatType(),
    columns.BOOL: BooleanType(),
    columns.TIME: TimestamptzType(),
}


def iceberg_schema(spec: TableSpec) -> Schema:
    """Return the schema of a new table; field ids count from 1 in the order of the columns."""
    ids = itertools.count(len(spec.columns) + 1)
    return Schema(
        *(
            NestedField(i, c.name, _iceberg_type(c.type, ids), required=c.required, doc=c.meaning)
            for i, c in enumerate(spec.columns, start=1)
        )
    )


def _iceberg_type(arrow: pa.DataType, ids: Iterator[int]) -> IcebergType:
    if pa.types.is_list(arrow):
        return ListType(next(ids), _iceberg_type(arrow.value_type, ids), element_required=False)
    return _SCALARS[arrow]


def partition_spec(spec: TableSpec, schema: Schema) -> PartitionSpec:
    """Return the partitioning of a new table: by the values of its partition columns."""
    return PartitionSpec(
        *(
            PartitionField(schema.find_field(name).field_id, 1000 + i, IdentityTransform(), name)
            for i, name in enumerate(spec.partition)
        )
    )


def table_properties(schema: Schema) -> dict[str, str]:
    """Return the properties of a new table."""
    return {
        "commit.retry.num-retries": "0",  # a retry must look at the partition again: commit.py does
        "write.metadata.delete-after-commit.enabled": "true",
        "write.metadata.previous-versions-max": "20",
        **name_mapping(schema),
    }


def name_mapping(schema: Schema) -> dict[str, str]:
    """Return the property that maps the columns of files without field ids."""
    return {"schema.name-mapping.default": create_mapping_from_schema(schema).model_dump_json()}
