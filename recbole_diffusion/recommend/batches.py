"""Which requests are scored together? Those with the same options that wait at the same time."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pandas as pd

from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.recommend.requests import Answer, List, Ranked, Wanted

MOST_WAITING = 500  # requests
TOGETHER = 512  # people that are scored at once
PAUSE = 0.002  # seconds in which more requests may arrive


class Busy(Exception):
    """Too many requests are waiting."""


class Waiting(NamedTuple):
    """A request that waits.

    Attributes:
        wanted (Wanted): the request.
        options (str): what must be equal for requests to be scored together.
        answer (asyncio.Future): of its bytes; done when nobody waits for it any longer.
    """

    wanted: Wanted
    options: str
    answer: asyncio.Future


def answers(recommender, requests):
    """Lists for several requests with the same options.

    Args:
        recommender (Recommender): the model.
        requests (list of Wanted): the requests.

    Returns:
        list of Answer: one a request.

    Raises:
        ConfigError, DataError: as of `Recommender.recommend`.
    """
    user, item = recommender.user_field, recommender.item_field
    behavior = recommender.behavior_column
    people = [(number, person) for number, one in enumerate(requests) for person in one.people]
    names = [f"{number} {person.user}" for number, person in people]
    options = requests[0].model_dump(exclude={"people"})
    if recommender.reads == "user":  # a learnt vector is looked up by the user's own name
        if len(requests) > 1:
            return [answers(recommender, [one])[0] for one in requests]
        names = [person.user for _, person in people]
    table = {user: [], item: []} | ({behavior: []} if behavior else {})
    for name, (_, person) in zip(names, people):
        table[user] += [name] * len(person.items)
        table[item] += person.items
        if behavior:
            if person.behaviors is None and person.items:
                raise ConfigError(f"the model reads behaviours: give one an item ({behavior})")
            table[behavior] += person.behaviors or []
    lists = recommender.recommend(pd.DataFrame(table, dtype=object), users=names, **options)
    listed = {
        name: recommender.report.get(name, 0) for name in ("unknown_candidates", "unknown_deny")
    }
    known = recommender.known_items
    found = [
        Answer(
            lists=[],
            unknown_items=sum(item not in known for one in request.people for item in one.items),
            **listed,
        )
        for request in requests
    ]
    ranked = {}
    for name, one, score in zip(lists[user], lists[item], lists["score"]):
        ranked.setdefault(name, []).append(Ranked(item=one, score=score))
    for name, (number, person) in zip(names, people):
        if name in ranked:
            found[number].lists.append(List(user=person.user, items=ranked[name]))
    return found


class Batches:
    """Scores requests that arrive together in one go, on one thread.

    The oldest request goes first, and with it those of the same options behind it. One that nobody
    waits for any longer is not scored, and one that is wrong does not make the others of its batch
    fail.

    Args:
        recommender (Recommender): the model.
        timeout (float): seconds after which a request is given up.
        together (int): people that are scored at once; 1 scores every request alone.
    """

    def __init__(self, recommender, timeout, together=TOGETHER):
        self.recommender, self.timeout, self.together = recommender, timeout, together
        self.thread = ThreadPoolExecutor(1)
        self.waiting = []
        self.running = None

    async def ask(self, wanted):
        """The answer to a request, which is given up when the task that asks is cancelled.

        Args:
            wanted (Wanted): the request.

        Returns:
            bytes: of an `Answer`, as JSON.

        Raises:
            Busy: if too many are waiting.
            ConfigError, DataError: as of `answers`.
            TimeoutError: if it takes too long.
        """
        self.waiting = [one for one in self.waiting if not one.answer.done()]
        if len(self.waiting) >= MOST_WAITING:
            raise Busy
        answer = asyncio.get_running_loop().create_future()
        self.waiting.append(Waiting(wanted, wanted.options(), answer))
        if self.running is None or self.running.done():
            self.running = asyncio.create_task(self._run())
        return await asyncio.wait_for(answer, self.timeout)

    async def _run(self):
        if self.together > 1:
            await asyncio.sleep(PAUSE)
        loop = asyncio.get_running_loop()
        while batch := self._take():
            wanted = [one.wanted for one in batch]
            found = await loop.run_in_executor(self.thread, self._answers, wanted)
            for waiting, one in zip(batch, found):
                if waiting.answer.done():  # given up
                    continue
                if isinstance(one, Exception):
                    waiting.answer.set_exception(one)
                else:
                    waiting.answer.set_result(one)

    def _take(self):
        """The oldest request and those behind it that can be scored with it."""
        people, batch, rest = 0, [], []
        for one in self.waiting:
            if one.answer.done():
                continue
            size = len(one.wanted.people)
            same = not batch or one.options == batch[0].options
            if same and (not batch or people + size <= self.together):
                batch.append(one)
                people += size
            else:
                rest.append(one)
        self.waiting = rest
        return batch

    def _answers(self, requests):
        """The bytes of each answer, or the exception that it ended in."""
        try:
            found = answers(self.recommender, requests)
            return [one.model_dump_json().encode() for one in found]
        except Exception as error:  # whatever it is, somebody waits for it
            if len(requests) == 1:
                return [error]
        half = len(requests) // 2  # what is wrong is found in few steps
        return self._answers(requests[:half]) + self._answers(requests[half:])
