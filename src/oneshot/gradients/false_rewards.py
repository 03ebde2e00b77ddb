"""False rewards: controls that know nothing of what is right. What a search gains along them is luck or form."""

import numpy as np
import pandas as pd

from oneshot.sampling import CUT_OFF
from oneshot.verifiers import Status


def shuffled(rollouts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The rollouts with the rewards of each group dealt out anew: as many are right, but others. A control."""
    rng = np.random.default_rng(seed)
    num_problems = rollouts.problem_id.nunique()
    rows_PG = rng.permuted(np.arange(len(rollouts)).reshape(num_problems, -1), axis=1)
    dealt = {column: rollouts[column].to_numpy()[rows_PG.ravel()] for column in ("reward", "credit")}
    return rollouts.assign(**dealt)


def random(rollouts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A coin for every rollout. A control: nearly every group has something to learn, and it is noise."""
    coins = np.random.default_rng(seed).integers(0, 2, len(rollouts)).astype(np.float32)
    return rollouts.assign(reward=coins, credit=coins)


def well_formed(rollouts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """1 for every answer that can be read, right or wrong. A control: what there is to gain by form alone."""
    formed = (~rollouts.status.isin([CUT_OFF, Status.UNPARSABLE])).to_numpy(dtype=np.float32)
    return rollouts.assign(reward=formed, credit=formed)


FALSE_REWARDS = {"shuffled": shuffled, "random": random, "well_formed": well_formed}
"""Controls by name: (rollouts, seed) -> the rollouts with other rewards."""
