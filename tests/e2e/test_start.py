"""make run: what is in its way, what ends in the middle, what is left behind, and what it prints."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
import redis
import requests
from botocore.exceptions import ClientError, EndpointConnectionError
from missions.storage import keys

from local.eventbridge import waiting
from local.processes import unused_port
from local.stack import PORTS, aws, listen, wait_until_ready

ROOT = Path(__file__).parents[2]


class Run:
    """`make run` in a folder of its own, on ports of its own."""

    def __init__(self, folder: Path, **variables: str) -> None:
        own = {name: str(unused_port()) for name in PORTS} | variables
        self.port, self.events_port, self.redis_port = (own[name] for name in PORTS)
        self.url = f"http://127.0.0.1:{self.port}"
        self.endpoint = f"http://127.0.0.1:{self.events_port}"
        self.data = folder / ".local"
        self._output = folder / "output"
        self._errors = folder / "errors"
        with self._output.open("w") as output, self._errors.open("w") as errors:
            self.process = psutil.Popen(
                [sys.executable, "-m", "local.run"],
                cwd=folder,
                env=os.environ | own | {"PYTHONPATH": f"{ROOT}:{ROOT / 'layers/missions'}", "COLUMNS": "200"},
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        family = self.family() if self.process.is_running() else []
        with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            self.process.terminate()
            self.process.wait(20)
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()

    @property
    def output(self) -> str:
        return self._output.read_text() + self._errors.read_text()

    def ready(self) -> Self:
        wait_until_ready(self.url, alive=lambda: self.process.poll() is None)
        return self

    def ended(self) -> tuple[int, str]:
        """Wait for the end; the exit code, and what was printed, without a traceback."""
        code = self.process.wait(20)
        assert "Traceback" not in self._errors.read_text(), self.output  # one of a function is on the output
        return code, self.output

    def family(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def part(self, *words: str) -> psutil.Process:
        """The process whose command line has these words; a shell that watches it is another one."""
        found = [
            each
            for each in self.process.children(recursive=True)
            if set(words) <= set(" ".join(each.cmdline()).split()) and each.name() != "sh"
        ]
        assert len(found) == 1, (words, [each.cmdline() for each in self.process.children(recursive=True)])
        return found[0]

    def create(self, name: str = "Deploy") -> str:
        answer = requests.post(f"{self.url}/api/missions", json={"name": name}, timeout=10)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def status_of(self, mission_id: str) -> int:
        return requests.get(f"{self.url}/api/missions/{mission_id}", timeout=10).status_code


def wait_for(happened: Any, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)


def lists_queues(run: Run) -> bool:
    with suppress(ClientError, EndpointConnectionError):
        return bool(aws("sqs", run.endpoint).list_queues()["QueueUrls"])
    return False


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Run(tmp_path) as running:
        yield running.ready()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"EVENTS_PORT": "abc"}, "EVENTS_PORT is 'abc', which is no port"),
        ({"EVENTS_PORT": "99999"}, "EVENTS_PORT is '99999', which is no port"),
        ({"AUTH": "basic"}, "AUTH is 'basic'"),
        ({"NAMESPACE_CLAIM": "tenant"}, "needs AUTH=jwt"),
        ({"REQUEST_RATE": "5"}, "go together"),
        ({"LOG": "xml"}, "It may be json"),
        ({"CORS_ORIGIN": "localhost"}, "no origin, such as"),
    ],
    ids=str,
)
def test_a_setting_that_makes_no_sense_is_refused_in_one_line(
    tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    with Run(tmp_path, **variables) as run:
        code, output = run.ended()
    assert (code, said in output, len(output.splitlines())) == (1, True, 1), output


def test_a_busy_port_is_refused_with_another_one_to_take(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with Run(tmp_path, EVENTS_PORT=str(port)) as run:
            code, output = run.ended()
    assert (code, f"Port {port} cannot be used" in output, "EVENTS_PORT=" in output) == (1, True, True)


def test_a_second_run_in_the_same_folder_is_refused_and_names_the_first(run: Run, tmp_path: Path) -> None:
    with Run(tmp_path, PORT=run.port) as second:
        code, output = second.ended()
    assert (code, f"Process {run.process.pid} runs the stack in this folder" in output) == (1, True)
    assert run.status_of(run.create()) == 200


def test_data_of_another_version_is_refused_and_kept(tmp_path: Path) -> None:
    data = tmp_path / ".local"
    data.mkdir()
    (data / "format").write_text("0")
    with Run(tmp_path) as run:
        code, output = run.ended()
    assert (code, "has format 0, and this version of Missions has" in output) == (1, True)
    assert (data / "format").read_text() == "0"


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / ".local").touch()
    with Run(tmp_path) as run:
        code, output = run.ended()
    assert (code, "cannot be written" in output) == (1, True)


def test_ctrl_c_ends_everything(run: Run) -> None:
    family = run.family()
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(15) == 0
    assert psutil.wait_procs(family, 10)[1] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_however_it_ends_nothing_is_left_behind_and_the_next_run_has_everything(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Run(tmp_path) as run:
        url = listen(run.ready().endpoint, "mine")
        family = run.family()
        delivery = run.part("delivery")
        delivery.suspend()  # so that events are still to be delivered
        mission_id = run.create()
        wait_for(lambda: waiting(redis.Redis(port=int(run.redis_port))) == 2)
        run.process.send_signal(number)
        if number == signal.SIGKILL:
            delivery.kill()  # stopped as it is, it does not see that its parent has gone
        assert run.process.wait(15) == (0 if number != signal.SIGKILL else -number)
        assert psutil.wait_procs(family, 10)[1] == []
    ports = {name: str(port) for name, port in json.loads((run.data / "ports.json").read_text()).items()}
    with Run(tmp_path, **ports) as again:
        assert again.ready().status_of(mission_id) == 200
        arrived: list[dict[str, Any]] = []

        def all_here() -> bool:
            messages = aws("sqs", again.endpoint).receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            arrived.extend(json.loads(each["Body"])["detail"] for each in messages.get("Messages", []))
            return len(arrived) == 2

        wait_for(all_here)
    assert {each["payload"]["mission_id"] for each in arrived} == {mission_id}


def test_a_terminal_that_is_closed_ends_everything(tmp_path: Path) -> None:
    terminal, inside = pty.openpty()
    own = {name: str(unused_port()) for name in PORTS} | {"PYTHONPATH": f"{ROOT}:{ROOT / 'layers/missions'}"}
    process = psutil.Popen(
        ["setsid", "--ctty", "--wait", sys.executable, "-m", "local.run"],
        cwd=tmp_path,
        env=os.environ | own,
        stdin=inside,
        stdout=inside,
        stderr=inside,
    )
    os.close(inside)
    printed = b""
    while b"Missions is ready" not in printed:
        printed += os.read(terminal, 4096)
    family = [process, *process.children(recursive=True)]
    os.close(terminal)
    assert psutil.wait_procs(family, 15)[1] == []


def test_without_valkey_the_run_ends_and_says_why_and_the_next_one_has_everything(run: Run, tmp_path: Path) -> None:
    mission_id = run.create()
    os.kill(int((run.data / "valkey/valkey.pid").read_text()), signal.SIGKILL)
    code, output = run.ended()
    assert (code, "Valkey has ended" in output, "make run" in output) == (1, True, True)
    with Run(tmp_path) as again:
        assert again.ready().status_of(mission_id) == 200


@pytest.mark.parametrize(
    ("part", "name"),
    [(("local.front",), "The API"), (("api",), "EventBridge"), (("delivery",), "The delivery of events")],
    ids=["API", "EventBridge", "delivery"],
)
def test_a_part_that_dies_is_started_again_and_told_and_nothing_is_lost(
    run: Run, part: tuple[str, ...], name: str
) -> None:
    before = run.create()
    url = listen(run.endpoint, "mine")
    run.part(*part).kill()
    wait_for(lambda: f"{name} has ended and is started again" in run.output)
    wait_until_ready(run.url)
    wait_for(lambda: lists_queues(run))
    after = run.create("Again")
    assert (run.status_of(before), run.status_of(after)) == (200, 200)
    assert run.part(*part).is_running()

    store = redis.Redis(port=int(run.redis_port), decode_responses=True)

    def arrives() -> bool:
        messages = aws("sqs", run.endpoint).receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        # Who was connected to the EventBridge that died leaves its events to the relay, which comes each minute.
        return after in str(messages) or after in str(store.xrange(keys.outbox(keys.partition_of("default"))))

    wait_for(arrives)


def test_what_is_printed_has_a_line_for_each_request_and_event_and_steers_no_terminal(run: Run) -> None:
    path = f"/api/missions/{run.create('[bold]markup[/]')}/log"
    entry = {"message": "\x1b[31mred\x1b]0;title\x07"}
    assert requests.post(run.url + path, json=entry, timeout=10).status_code == 201
    with socket.create_connection(("127.0.0.1", int(run.port))) as client:
        client.sendall(b"GET /[red]x%1b\x1b[2J HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        client.recv(4096)
    wait_for(lambda: all(each in run.output for each in ("]0;title", "mission.created", "Ctrl-C")))
    output = run.output
    assert "201  POST /api/missions" in output
    assert "\\x1b[31mred" in output or "\\u001b[31mred" in output
    assert "[bold]markup[/]" in output
    assert "\x1b" not in output
    assert "http://127.0.0.1:" in output
    assert "Ctrl-C" in output


def test_under_load_a_second_has_a_few_lines_and_a_summary(run: Run) -> None:
    with ThreadPoolExecutor(8) as clients:
        list(clients.map(lambda _: run.create(), range(400)))
    wait_for(lambda: " requests" in run.output and " events" in run.output)
    assert len(run.output.splitlines()) < 600  # of 1,200 requests and events


def test_for_programs_each_line_is_json_and_a_request_is_one_of_the_access_log(tmp_path: Path) -> None:
    with Run(tmp_path, LOG="json") as run:
        mission_id = run.ready().create()
        wait_for(lambda: "mission.created" in run.output)
        lines = [json.loads(line) for line in run._output.read_text().splitlines()]
    (created,) = [line["request"] for line in lines if line["kind"] == "request" and line["request"]["status"] == "201"]
    events = [line["event"] for line in lines if line["kind"] == "event"]
    assert created["route"] == "POST /api/missions"
    assert [each["detail"]["payload"]["mission_id"] for each in events] == [mission_id, mission_id]


def test_tokens_and_namespaces_and_limits_can_be_tried(tmp_path: Path) -> None:
    own = {"AUTH": "jwt", "NAMESPACE_CLAIM": "tenant", "REQUEST_RATE": "1", "REQUEST_BURST": "12"}
    with Run(tmp_path, **own) as run:
        run.ready()

        def call(token: str, method: str, path: str, **options: Any) -> requests.Response:
            headers = {"authorization": f"Bearer {token}"} if token else {}
            return requests.request(method, f"{run.url}{path}", headers=headers, timeout=10, **options)

        def token(namespace: str) -> str:
            asked = {"namespace": namespace, "scope": "missions/read missions/write"}
            return str(requests.post(f"{run.url}/_local/token", json=asked, timeout=10).json()["access_token"])

        first, second = token("first"), token("second")
        created = call(first, "POST", "/api/missions", json={"name": "Deploy"})
        assert created.status_code == 201, created.text
        path = f"/api/missions/{created.json()['id']}"
        statuses = [call(each, "GET", path).status_code for each in (first, second, "", "x.y.z")]
        assert statuses == [200, 404, 401, 401]
        assert 429 in [call(first, "GET", path).status_code for _ in range(20)]


def test_parts_with_the_same_port_are_refused(tmp_path: Path) -> None:
    with Run(tmp_path, PORT="15998", EVENTS_PORT="15998") as run:
        code, output = run.ended()
    assert (code, "needs a port of its own" in output) == (1, True)


def test_an_output_that_nobody_reads_stops_no_request_and_one_that_is_closed_ends_the_run(tmp_path: Path) -> None:
    ports = {name: str(unused_port()) for name in PORTS}
    environment = os.environ | ports | {"PYTHONPATH": f"{ROOT}:{ROOT / 'layers/missions'}", "LOG": "json"}
    command = [sys.executable, "-m", "local.run"]
    url = f"http://127.0.0.1:{ports['PORT']}"
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_until_ready(url)
            for number in range(300):  # more than a pipe holds
                assert requests.get(f"{url}/api/missions/{'x' * 100}{number}", timeout=10).status_code == 404
            assert process.stdout
            process.stdout.close()
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_the_ports_are_given_once(run: Run, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in PORTS}
    environment["PYTHONPATH"] = f"{ROOT}:{ROOT / 'layers/missions'}"
    for module, said in (("local.operate", '"undelivered"'), ("local.demo", "its 8 events arrived in order")):
        command = [sys.executable, "-m", module, *(['{"action": "count"}'] if module == "local.operate" else [])]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        assert (done.returncode, said in done.stdout) == (0, True), done.stdout + done.stderr
