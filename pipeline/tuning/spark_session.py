"""The Spark that `spark.master` names, with the project's code; imports PySpark."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

from pipeline.config.sections import Spark
from pipeline.errors import ConfigError

PACKAGE = Path(__file__).resolve().parents[1]


@contextmanager
def session_of(spark: Spark) -> Iterator[SparkSession]:
    """A new session that ends here, or the one that is active already."""
    is_local = spark.master.startswith("local")
    if is_local:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master(spark.master).appName(PACKAGE.name)
    options = {"spark.ui.showConsoleProgress": "false"}
    if is_local:  # nothing of it needs to be seen from elsewhere
        options |= {"spark.ui.enabled": "false", "spark.driver.bindAddress": "127.0.0.1"}
        options |= {"spark.driver.host": "127.0.0.1"}
    for key, value in options.items():
        builder = builder.config(key, value)
    is_new = SparkSession.getActiveSession() is None
    try:
        session = builder.getOrCreate()
    except Exception as error:  # Java's and PySpark's own, of many kinds
        raise ConfigError(
            f"spark.master is {spark.master!r}, but Spark cannot start there: "
            f"{str(error).splitlines()[0]}; check the address, Spark's own messages above, and "
            "that Java 17 or later is installed"
        ) from error
    session.sparkContext.setLogLevel("ERROR")
    with tempfile.TemporaryDirectory() as folder:
        archive = shutil.make_archive(
            str(Path(folder) / PACKAGE.name), "zip", PACKAGE.parent, PACKAGE.name
        )
        session.sparkContext.addPyFile(archive)
        try:
            yield session
        finally:
            if is_new:
                session.stop()
