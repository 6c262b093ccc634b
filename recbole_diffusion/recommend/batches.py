"""Which requests are scored together? Those with the same options that wait at the same time."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.data.lines import DataError
from recbole_diffusion.recommend.requests import Answer, List, Ranked

MOST_WAITING = 1000  # requests
TOGETHER = 512  # people that are scored at once
PAUSE = 0.002  # seconds in which more requests may arrive


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
    user, item, *rest = recommender.columns
    people = [(number, person) for number, one in enumerate(requests) for person in one.people]
    names = [f"{number} {person.user}" for number, person in people]
    options = requests[0].model_dump(exclude={"people"})
    if recommender.reads == "user":  # a learnt vector is looked up by the user's own name
        if len(requests) > 1:
            return [answers(recommender, [one])[0] for one in requests]
        names = [person.user for _, person in people]
    behavior = rest[0] if len(rest) > 1 else None
    table = {user: [], item: []} | ({behavior: []} if behavior else {})
    for name, (_, person) in zip(names, people):
        table[user] += [name] * len(person.items)
        table[item] += person.items
        if behavior:
            if person.behaviors is None and person.items:
                raise ConfigError(f"the model reads behaviours: give one an item ({behavior})")
            table[behavior] += person.behaviors or []
    lists = recommender.recommend(pd.DataFrame(table, dtype=object), users=names, **options)
    known = set(recommender.tokens[recommender.item_field][1:])
    found = [
        Answer(
            lists=[],
            unknown_items=sum(item not in known for one in request.people for item in one.items),
        )
        for request in requests
    ]
    by_name = dict(zip(names, people))
    for name, rows in lists.groupby(user, sort=False):
        number, person = by_name[name]
        ranked = [Ranked(item=i, score=s) for i, s in zip(rows[item], rows["score"])]
        found[number].lists.append(List(user=person.user, items=ranked))
    return found


class Batches:
    """Scores requests that arrive together in one go, on one thread.

    Args:
        recommender (Recommender): the model.
        timeout (float): seconds after which a request is given up.
    """

    def __init__(self, recommender, timeout):
        self.recommender, self.timeout = recommender, timeout
        self.thread = ThreadPoolExecutor(1)
        self.waiting = []
        self.running = None

    async def ask(self, wanted):
        """The answer to a request.

        Raises:
            ConfigError, DataError: as of `answers`.
            TimeoutError: if it takes too long, or too many are waiting.
        """
        if len(self.waiting) >= MOST_WAITING:
            raise TimeoutError
        answer = asyncio.get_running_loop().create_future()
        self.waiting.append((wanted, answer))
        if self.running is None or self.running.done():
            self.running = asyncio.create_task(self._run())
        return await asyncio.wait_for(answer, self.timeout)

    async def _run(self):
        await asyncio.sleep(PAUSE)
        while self.waiting:
            batch = self._take()
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self.thread, self._answers, [w for w, _ in batch])
            for (_, answer), one in zip(batch, found):
                if answer.done():  # given up
                    continue
                if isinstance(one, Exception):
                    answer.set_exception(one)
                else:
                    answer.set_result(one)

    def _take(self):
        """The oldest request and those behind it that can be scored with it."""
        options, people, batch, rest = self.waiting[0][0].options(), 0, [], []
        for wanted, answer in self.waiting:
            if answer.done():
                continue
            people += len(wanted.people)
            fits = wanted.options() == options and (not batch or people <= TOGETHER)
            (batch if fits else rest).append((wanted, answer))
        self.waiting = rest
        return batch

    def _answers(self, requests):
        try:
            return answers(self.recommender, requests) if requests else []
        except (ConfigError, DataError) as error:
            if len(requests) == 1:
                return [error]
        return [self._answers([one])[0] for one in requests]
