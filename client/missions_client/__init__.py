"""A client for Missions.

What is here is loaded when it is first used, so that `import missions_client` costs nothing.
"""

TYPE_CHECKING = False  # typing has it, too, but is slow to load
if TYPE_CHECKING:
    from missions_client.asynchronous import AsyncClient as AsyncClient
    from missions_client.asynchronous import AsyncWork as AsyncWork
    from missions_client.auth import Bearer as Bearer
    from missions_client.auth import SigV4 as SigV4
    from missions_client.errors import ApiError as ApiError
    from missions_client.errors import Broken as Broken
    from missions_client.errors import Busy as Busy
    from missions_client.errors import CannotSignIn as CannotSignIn
    from missions_client.errors import Conflict as Conflict
    from missions_client.errors import Invalid as Invalid
    from missions_client.errors import Misconfigured as Misconfigured
    from missions_client.errors import MissionCancelled as MissionCancelled
    from missions_client.errors import MissionsError as MissionsError
    from missions_client.errors import NotFound as NotFound
    from missions_client.errors import Removed as Removed
    from missions_client.errors import SignInRefused as SignInRefused
    from missions_client.errors import StaleVersion as StaleVersion
    from missions_client.errors import Unreachable as Unreachable
    from missions_client.models import AllTime as AllTime
    from missions_client.models import Cancelled as Cancelled
    from missions_client.models import CancelledPage as CancelledPage
    from missions_client.models import Durations as Durations
    from missions_client.models import Entry as Entry
    from missions_client.models import Health as Health
    from missions_client.models import History as History
    from missions_client.models import Level as Level
    from missions_client.models import LogEntry as LogEntry
    from missions_client.models import LogPage as LogPage
    from missions_client.models import Mission as Mission
    from missions_client.models import MissionPage as MissionPage
    from missions_client.models import NewMission as NewMission
    from missions_client.models import SignOfLife as SignOfLife
    from missions_client.models import Stats as Stats
    from missions_client.models import Status as Status
    from missions_client.models import Step as Step
    from missions_client.synchronous import Client as Client
    from missions_client.synchronous import Work as Work
    from missions_client.transport import Retry as Retry

_WHERE = {
    "asynchronous": ("AsyncClient", "AsyncWork"),
    "auth": ("Bearer", "SigV4"),
    "errors": (
        "ApiError", "Broken", "Busy", "CannotSignIn", "Conflict", "Invalid", "Misconfigured", "MissionCancelled",
        "MissionsError", "NotFound", "Removed", "SignInRefused", "StaleVersion", "Unreachable",
    ),
    "models": (
        "AllTime", "Cancelled", "CancelledPage", "Durations", "Entry", "Health", "History", "Level", "LogEntry",
        "LogPage", "Mission", "MissionPage", "NewMission", "SignOfLife", "Stats", "Status", "Step",
    ),
    "synchronous": ("Client", "Work"),
    "transport": ("Retry",),
}  # fmt: skip
_MODULES = {name: module for module, names in _WHERE.items() for name in names}

__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module 'missions_client' has no attribute '{name}'")
    found: object = getattr(import_module(f"missions_client.{_MODULES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
