"""The status table (specification, "Status Transitions"). It is written down here and nowhere else."""

from missions.domain.models import MissionStatus as S

TRANSITIONS: dict[S, tuple[S, ...]] = {
    S.PENDING: (S.RUNNING, S.CANCELLED),
    S.RUNNING: (S.COMPLETED, S.FAILED, S.CANCELLED),
    S.COMPLETED: (S.CANCELLED,),
    S.FAILED: (S.CANCELLED,),
    S.CANCELLED: (),
}


def sources(target: S) -> list[S]:
    """The statuses from which a mission may go to `target`."""
    return [status for status, targets in TRANSITIONS.items() if target in targets]
