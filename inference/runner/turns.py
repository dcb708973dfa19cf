"""Whose prompt is read next, when a step cannot read all of them."""

# One step in so many begins with the prompt that waits longest.
OLDEST = 4


class Turns:
    """What is nearly read comes first, so that somebody soon decodes.

    Few prompts get a share of a step, because each one that does costs as much again as several tokens.
    """

    def __init__(self) -> None:
        self.steps = 0

    def shares(self, waiting: list[tuple[int, int]], budget: int) -> list[int]:
        """How many tokens of each prompt the next step reads.

        `waiting`: of each, the oldest first, the tokens left and how many may be read in one piece.
        """
        self.steps += 1
        order = sorted(range(len(waiting)), key=lambda place: waiting[place][0])
        if self.steps % OLDEST == 0:
            order.sort(key=lambda place: place > 0)
        found = [0] * len(waiting)
        for place in order:
            found[place] = min(waiting[place][1], budget)
            budget -= found[place]
        return found
