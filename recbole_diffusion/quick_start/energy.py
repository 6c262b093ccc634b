"""How much energy does a training take? By codecarbon, from sensors or the load of the machine."""

from contextlib import contextmanager
from logging import ERROR, getLogger


@contextmanager
def metered(asked):
    """Measures the energy of what is done within.

    It is that of this process, and of the machine's GPUs. Nothing is sent anywhere and no file is
    written. Energy, in contrast to emissions, does not depend on the country that codecarbon asks
    for.

    Args:
        asked (bool): whether to measure.

    Yields:
        list of float: holds the watt-hours afterwards; stays empty where nobody asked.
    """
    watt_hours = []
    if not asked:
        yield watt_hours
        return
    from codecarbon import OfflineEmissionsTracker

    getLogger("codecarbon").setLevel(ERROR)  # its first lines are written before log_level is read
    tracker = OfflineEmissionsTracker(
        country_iso_code="FRA",
        tracking_mode="process",
        save_to_file=False,
        allow_multiple_runs=True,
        log_level="error",
    )
    tracker.start()
    try:
        yield watt_hours
    finally:
        tracker.stop()
    watt_hours.append(1000 * tracker.final_emissions_data.energy_consumed)
