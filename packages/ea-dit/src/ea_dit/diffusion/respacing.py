"""Which steps of a long schedule a shorter one keeps, in the vocabulary of Open-Sora."""


def respaced(count: int, respacing: str) -> tuple[int, ...]:
    """Chooses steps of 0 ... count - 1.

    Args:
        count: How many there are.
        respacing: Empty for all; "a,b,c" for so many of each of as many equal sections, from its first to its
            last, evenly; "ddimN" for N steps from 0 on in a whole stride.

    Raises:
        ValueError: If there are not that many, or no stride gives exactly N.
    """
    if respacing == "":
        return tuple(range(count))
    if respacing.startswith("ddim"):
        wanted = _whole(respacing.removeprefix("ddim"), respacing)
        for stride in range(1, count):
            if len(range(0, count, stride)) == wanted:
                return tuple(range(0, count, stride))
        raise ValueError(f"timestep_respacing {respacing!r}: no stride takes {wanted} of {count} steps")
    wanted_counts = [_whole(part, respacing) for part in respacing.split(",")]
    size, larger = divmod(count, len(wanted_counts))
    steps: list[int] = []
    start = 0
    for index, wanted in enumerate(wanted_counts):
        length = size + (index < larger)
        if wanted > length:
            raise ValueError(f"timestep_respacing {respacing!r}: cannot take {wanted} of {length} steps")
        stride = (length - 1) / (wanted - 1) if wanted > 1 else 1.0
        # Added up, as released: where a multiple ends in one half, the sum may be rounded the other way.
        place = 0.0
        for _ in range(wanted):
            steps.append(start + round(place))
            place += stride
        start += length
    return tuple(steps)


def _whole(text: str, respacing: str) -> int:
    if not text.strip().isdigit() or int(text) < 1:
        raise ValueError(
            f"timestep_respacing must be 'a,b,...' or 'ddimN' of whole numbers, got {respacing!r}"
        )
    return int(text)
