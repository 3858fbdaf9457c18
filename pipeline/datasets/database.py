"""Reads a table, or what a SELECT gives, from a database that SQLAlchemy knows."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd

from pipeline.config.paths import locate
from pipeline.config.sections import Data
from pipeline.datasets.table_source import TableSource
from pipeline.errors import SourceError, nearest

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Select

QUERY = re.compile(r"\s*(select|with)\s", re.IGNORECASE)
VARIABLE = re.compile(r"\$\{(\w+)\}")
DRIVERS = {"psycopg": "psycopg[binary]", "MySQLdb": "mysqlclient"}  # by module, its package


def read_query(data: Data) -> TableSource:
    """The rows of `data.query` in the database at `data.source`. Raises SourceError."""
    import sqlalchemy  # takes 0.2 s, and most sources are files

    with _explained(data):
        url = _with_variables(sqlalchemy.make_url(data.source))
        if url.get_backend_name() == "sqlite":
            url = _read_only(data, url)
        engine = sqlalchemy.create_engine(url)
        try:
            with engine.connect() as connection:
                query = data.query if data.query and QUERY.match(data.query) else None
                selected = sqlalchemy.text(query) if query else _whole_table(connection, data)
                return TableSource(data, pd.read_sql_query(selected, connection))
        finally:
            engine.dispose()


def _with_variables(url: "URL") -> "URL":
    """The address with the environment's values in place of `${NAME}`. Raises SourceError."""
    address = url.render_as_string()
    if url.password is not None and not VARIABLE.fullmatch(str(url.password)):
        raise SourceError(
            f"data.source {address!r} holds a password, which would be logged with each run; "
            "put it into an environment variable and write ${NAME} in its place"
        )
    parts = {name: getattr(url, name) for name in ("username", "password", "host", "database")}
    for name, text in parts.items():
        for variable in VARIABLE.findall(str(text)):
            if variable not in os.environ:
                raise SourceError(
                    f"data.source {address!r} names {variable} of the environment, which is not set"
                )
        parts[name] = text and VARIABLE.sub(lambda match: os.environ[match[1]], str(text))
    return url.set(**parts)


def _read_only(data: Data, url: "URL") -> "URL":
    """The address of an SQLite file that is opened for reading only, so it is not made either."""
    path = locate(url.database or "")
    if not path.is_file():
        raise SourceError(
            f"data.source {data.source!r}: {str(path)!r} is no file; write sqlite:/// and the "
            f"path of the database, a further / for an absolute one"
        )
    return url.set(database=f"file:{quote(str(path))}", query={"mode": "ro", "uri": "true"})


def _whole_table(connection: "Connection", data: Data) -> "Select[Any]":
    """Everything in the table that `data.query` names, by its primary key; the only one by default.

    A database promises no order of its own, and the split depends on it.
    """
    import sqlalchemy

    inspector = sqlalchemy.inspect(connection)
    schema, _, name = (data.query or "").rpartition(".")
    names = sorted([*inspector.get_table_names(), *inspector.get_view_names()])
    if data.query is None and len(names) == 1:
        name = names[0]
    elif not inspector.has_table(name, schema or None) and name not in names:
        hint = nearest(name, names) if name else ""
        raise SourceError(
            f"data.query is {data.query!r}; it must be a SELECT, or a table of data.source "
            f"{data.source!r}{hint or ';'} it has {', '.join(names[:20]) or 'none'}"
        )
    key = inspector.get_pk_constraint(name, schema or None)["constrained_columns"]
    columns: list[Any] = [sqlalchemy.column(one) for one in key]
    table = sqlalchemy.table(name, *columns, schema=schema or None)
    return sqlalchemy.select(sqlalchemy.text("*")).select_from(table).order_by(*columns)


@contextmanager
def _explained(data: Data) -> Iterator[None]:
    """Makes a SourceError of what the libraries raise; it holds no password."""
    import sqlalchemy.exc

    try:
        yield
    except sqlalchemy.exc.NoSuchModuleError:
        raise SourceError(
            f"data.source {data.source!r}: SQLAlchemy knows no such database; "
            "install the package of its dialect"
        ) from None
    except ModuleNotFoundError as error:
        package = DRIVERS.get(str(error.name), error.name)
        raise SourceError(
            f"data.source {data.source!r} needs a driver: `pip install '{package}'`"
        ) from None
    except (sqlalchemy.exc.SQLAlchemyError, pd.errors.DatabaseError) as error:
        cause = error.__cause__ or error
        reason = str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
        raise SourceError(
            f"data.source {data.source!r} cannot be read with data.query {data.query!r}: {reason}"
        ) from None
