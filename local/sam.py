"""make sam-local: the functions as Lambda runs them, in containers, with a store and a bus on this machine."""

import json
import os
import secrets
import signal
import subprocess
import sys
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path

from local.eventbridge import BUS, REGION
from local.eventbridge import CONTAINERS as HOST
from local.lines import console, safe
from local.run import stop_on_signals
from local.stack import CannotStart, data_folder, eventbridge, free_ports, valkey, wait_until_ready

SAM = Path(sys.executable).with_name("sam")
VARIABLES = Path(".local/sam-local.json")  # there while it runs, for sam local invoke


def docker(*command: str) -> str:
    """Run the docker client. Raises SystemExit with advice when there is no engine."""
    try:
        return subprocess.run(["docker", *command], check=True, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        raise SystemExit("sam local needs a container engine and its client: install Docker and start it.") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(
            f"The container engine does not answer; start Docker. It said: {error.stderr.strip()}"
        ) from None


def containers() -> set[str]:
    """The containers of sam local that are running."""
    return set(docker("ps", "--quiet", "--filter", "label=sam.cli.container.type=lambda").split())


def bridge() -> str:
    """This machine's address on the engine's default network, which only containers reach."""
    (config, *_) = json.loads(docker("network", "inspect", "bridge"))[0]["IPAM"]["Config"]
    return str(config.get("Gateway") or next(ip_network(config["Subnet"]).hosts()))


def main() -> int:
    """Build, start everything, and serve until Ctrl-C or SIGTERM."""
    stop_on_signals()
    try:
        serve()
    except CannotStart as error:
        console.print(f"[red]{safe(error)}[/]")
        return 1
    return 0


def serve() -> None:
    """Serve until Ctrl-C or SIGTERM. Raises CannotStart."""
    architecture = "arm64" if os.uname().machine in ("arm64", "aarch64") else "x86_64"
    # Docker Desktop forwards host.docker.internal to the loopback interface; on Linux it is the bridge's own address.
    linux = sys.platform == "linux"
    docker("version")
    gateway = bridge() if linux else ""
    password = secrets.token_urlsafe(24)  # containers reach the store, and they are not alone on their network
    with ExitStack() as parts:
        folder = parts.enter_context(data_folder())
        api, events, redis = free_ports(folder)
        variables = {
            "REDIS_URL": f"redis://:{password}@{HOST}:{redis}",
            "REDIS_IAM_USER": "",
            "EVENT_BUS_NAME": BUS,
            "AWS_ENDPOINT_URL_EVENTBRIDGE": f"http://{HOST}:{events}",
        }
        console.print("Building the functions and the layer ...")
        command = [str(SAM), "build", "--parameter-overrides", f"Architecture={architecture}"]
        # pyenv finds python3.13 only when told
        if subprocess.run(command, env=os.environ | {"PYENV_VERSION": "3.13"}).returncode:
            raise CannotStart("The functions cannot be built; the lines above say why.")
        parts.enter_context(valkey(folder / "valkey", redis, gateway, password))
        parts.enter_context(eventbridge(f"redis://:{password}@127.0.0.1:{redis}", events, gateway))
        VARIABLES.touch(0o600)
        parts.callback(VARIABLES.unlink)
        VARIABLES.write_text(json.dumps({"Parameters": variables}))
        environment = os.environ | {
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
        }
        options = ["--env-vars", str(VARIABLES), "--parameter-overrides", f"Architecture={architecture}"]
        options += ["--region", REGION]
        if linux:
            options += ["--add-host", f"{HOST}:{gateway}"]
        if docker("images", "-q", "public.ecr.aws/lambda/python:3.13"):
            options += ["--skip-pull-image"]  # no registry is needed once the image is here
        command = [str(SAM), "local", "start-api", "--port", str(api), "--warm-containers", "EAGER", *options]
        before = containers()
        server = subprocess.Popen(command, env=environment, start_new_session=True)
        try:
            wait_until_ready(f"http://127.0.0.1:{api}", 300, lambda: server.poll() is None)
            console.print(f"""
[bold green]Missions is ready[/] under sam local at [bold]http://127.0.0.1:{api}[/]. In another shell:

  make demo        one mission, step by step
  make test-e2e    the end-to-end tests

One function alone, with a file of events/:

  .venv/bin/sam local invoke CreateMissionFunction --event events/create_mission.json {" ".join(options)}

Ctrl-C stops everything.
""")
            server.wait()
        except KeyboardInterrupt:
            console.print("\nStopping the containers ...")
        finally:
            server.send_signal(signal.SIGINT)  # sam removes its containers ...
            server.wait()
            left = containers() - before  # ... but loses sight of one when two requests start a function at once
            if left:
                docker("rm", "--force", *left)


if __name__ == "__main__":
    sys.exit(main())
