"""gunicorn with forked workers: real requests, a cache that all workers share, and one that survives them."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("flask_caching")
pytest.importorskip("gunicorn")


@pytest.fixture
def serve(own_server, tmp_path):
    """Starts gunicorn and returns the base of its URLs, and a way to stop it."""

    def serve(*options):
        port_file = tmp_path / "port"
        # A home of its own, where gunicorn puts its control socket.
        environment = {**os.environ, "DATABASE_URL": own_server.url(), "HOME": str(tmp_path)}
        command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "4", "--bind", "127.0.0.1:0", *options]
        with open(port_file, "w") as log:
            process = subprocess.Popen(
                [*command, "tests.site_app:app"], cwd=Path(__file__).parent.parent, env=environment, stderr=log
            )
        running.append(process)
        for _ in range(200):
            words = port_file.read_text().split("Listening at: ")
            if len(words) > 1:
                return words[1].split()[0], process
            assert process.poll() is None, port_file.read_text()
            time.sleep(0.05)
        raise AssertionError(port_file.read_text())

    running = []
    yield serve
    for process in running:
        process.terminate()
        process.wait(20)


def fetch(url):
    with urllib.request.urlopen(url, timeout=20) as response:
        return response.read().decode()


@pytest.mark.parametrize("options", [["--worker-class", "sync"], ["--worker-class", "gthread", "--threads", "4"]])
def test_workers_share_one_cache(serve, options, own_server):
    base, process = serve(*options)
    with ThreadPoolExecutor(16) as pool:
        answers = [json.loads(text) for text in pool.map(fetch, [f"{base}/count"] * 200)]
        pages = set(pool.map(fetch, [f"{base}/page"] * 50))
    assert sorted(answer["count"] for answer in answers) == list(range(1, 201))
    assert len({answer["pid"] for answer in answers}) > 1
    assert {answer["master"] for answer in answers} == {process.pid}
    assert len(pages) <= 4 * 4
    process.terminate()
    process.wait(20)

    # The application starts anew; the server, too.
    own_server.stop()
    own_server.start()
    base, _ = serve(*options)
    assert json.loads(fetch(f"{base}/count"))["count"] == 201
    assert fetch(f"{base}/page") in pages
