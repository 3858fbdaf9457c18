"""The production door stays up: workers, signals, orphans."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Run, environment
from tests.support.doors import (
    PATIENT,
    Door,
    children,
    command,
    command_line,
    eventually,
    free_port,
    open_door,
    started,
    stop,
    wait_until_ready,
)

SECONDS = 30  # less than the 60 that an upload may take
OTHERS_COUNTS = {"PROMETHEUS_MULTIPROC_DIR": "/nonexistent"}  # as of another server


def is_alive(pid: int) -> bool:
    return (
        Path(f"/proc/{pid}/stat").exists()
        and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(") ")[1].split()[0]
    )


def ready(door: Door) -> int:
    return sum(line["event"] == "ready" for line in door.lines())


def rows_counted(door: Door) -> float:
    for line in door.get("/metrics").content.decode().splitlines():
        if line.startswith("serve_rows_total"):
            return float(line.split()[1])
    return 0


def test_killed_worker_is_replaced_with_its_counts_and_a_killed_server_leaves_none(
    main_job: object, project: Path
) -> None:
    with open_door(project, "--workers", "2", **OTHERS_COUNTS) as door:
        assert eventually(lambda: ready(door) == 2)
        for _ in range(40):
            door.predict()
        # An answer is counted just after it is sent.
        assert eventually(lambda: rows_counted(door) == 40)
        first = children(door.process.pid)
        os.kill(first[0], signal.SIGKILL)
        assert eventually(lambda: ready(door) == 3)
        assert first[1] in children(door.process.pid)
        assert len(children(door.process.pid)) == 2
        for _ in range(40):
            door.predict()
        assert eventually(lambda: rows_counted(door) == 80)
        models = [
            line
            for line in door.get("/metrics").content.decode().splitlines()
            if line.startswith("serve_model_version")
        ]
        assert len(models) == 2  # the killed worker's is gone
        door.post({"inputs": [PATIENT] * 3000})  # so there is a process beside a worker
        workers = children(door.process.pid)
        nested = [child for worker in workers for child in children(worker)]
        assert nested
        os.kill(door.process.pid, signal.SIGKILL)
        door.process.wait()
        assert eventually(lambda: not any(map(is_alive, [*workers, *nested])))
        with pytest.raises(ConnectionRefusedError):
            door.get("/ping")


def test_killed_worker_is_replaced_without_the_registry(main_job: object, project: Path) -> None:
    """And without the folders for temporary files, which a cleaner deleted."""
    store, temporary = project / "away.db", project / "temporary"
    shutil.copy(project / "mlflow.db", store)
    temporary.mkdir()
    variables = {"MLFLOW_TRACKING_URI": f"sqlite:///{store}", "TMPDIR": str(temporary)}
    options = ["--workers=2", "--serve.follow=0.5"]
    with open_door(project, *options, **variables) as door:
        assert eventually(lambda: ready(door) == 2)
        assert door.post({"inputs": [PATIENT] * 3000}).status == 200
        shutil.rmtree(temporary)
        store.write_bytes(b"no database")
        door.wait_for("registry_lost")
        assert eventually(lambda: list(temporary.glob("**/workers-*/champion.tar")))
        first = children(door.process.pid)
        os.kill(first[0], signal.SIGKILL)
        assert eventually(lambda: ready(door) == 3)
        assert first[1] in children(door.process.pid)
        for _ in range(8):  # whichever worker answers
            assert door.post({"inputs": [PATIENT] * 3000}).status == 200
            assert door.get("/health").status == 200
        assert rows_counted(door) > 0
        door.process.send_signal(signal.SIGTERM)
        assert door.process.wait(timeout=SECONDS) == 0


def test_signal_ends_a_server_whose_registry_hangs(project: Path) -> None:
    """It accepts, and never answers; MLflow would try again for a quarter of an hour."""
    with socket.create_server(("127.0.0.1", 0)) as registry:
        address = f"http://127.0.0.1:{registry.getsockname()[1]}"
        process = subprocess.Popen(
            command(free_port(), "--workers", "2"),
            cwd=project,
            env={**environment(), "MLFLOW_TRACKING_URI": address},
            start_new_session=True,
        )
        try:
            registry.settimeout(60)
            with closing(registry.accept()[0]):  # it asks
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=SECONDS) == 0
        finally:
            stop(process)


def test_server_answers_and_ends_after_its_grace_though_nobody_reads_its_output(
    main_job: object, project: Path
) -> None:
    read, write = os.pipe()
    port = free_port()
    process = subprocess.Popen(
        command(port, "--serve.grace", "1", "--serve.limits.receive_seconds", "60"),
        cwd=project,
        env=environment(),
        stdout=write,
        stderr=write,
        start_new_session=True,
    )
    os.close(write)
    door = Door(process, port, project / "none.log")
    door.log.touch()
    try:
        wait_until_ready(door)
        for _ in range(600):  # lines of 64 KiB and more
            door.predict()
        with door.connect() as held:
            held.putrequest("POST", "/invocations")
            held.putheader("Content-Type", "application/json")
            held.putheader("Content-Length", "100")
            held.endheaders()
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=SECONDS) == 0
    finally:
        stop(process)
        os.close(read)


def test_server_ends_with_mlflow_run_and_ends_its_run(
    main_job: object, project: Path, run: Run
) -> None:
    port = free_port()
    words = ("mlflow", "run", ".", "-e", "serve", "--env-manager=local", f"-Pserve.port={port}")
    door = started(project, port, *words)
    mlflow = door.process
    try:
        wait_until_ready(door)
        (server,) = children(mlflow.pid)
        mlflow.kill()
        mlflow.wait(timeout=SECONDS)
        assert eventually(lambda: not is_alive(server))
        with pytest.raises(ConnectionRefusedError):
            door.get("/ping")
    finally:
        stop(mlflow)
    last = "import mlflow; [run] = mlflow.search_runs(search_all_experiments=True, max_results=1, "
    last += "output_format='list'); print(run.info.status, run.data.tags['verb'])"
    assert run(sys.executable, "-c", last).stdout.split() == ["KILLED", "serve"]


@pytest.mark.parametrize(
    ("workers", "number"), [("1", signal.SIGINT), ("2", signal.SIGTERM)], ids=str
)
def test_signal_lets_what_is_in_flight_end(
    main_job: object, project: Path, workers: str, number: signal.Signals
) -> None:
    with open_door(project, "--workers", workers) as door:
        replies = []
        body = json.dumps({"inputs": {n: [v] * 20_000 for n, v in PATIENT.items()}}).encode()
        sender = threading.Thread(target=lambda: replies.append(door.post(body)))
        sender.start()
        assert eventually(lambda: below(door.process.pid))
        door.process.send_signal(number)
        status = door.process.wait(timeout=SECONDS)
        sender.join()
        assert [reply.status for reply in replies] == [200]
        assert status == 0


def below(pid: int) -> bool:
    """Whether a process beside a worker is there."""
    direct = children(pid)
    nested = [child for worker in direct for child in children(worker)]
    return any(b"spawn_main" in command_line(child) for child in [*direct, *nested])
