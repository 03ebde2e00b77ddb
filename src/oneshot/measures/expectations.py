"""What is expected of every arm, as a table."""

import pandas as pd


def expectation_rows(expectations: dict[str, dict]) -> pd.DataFrame:
    """One row per arm: between which values (low, high) its gain, over GRPO's, is expected to lie, and why."""
    rows = [(arm, *entry["gain_recovered"], " ".join(entry["because"].split())) for arm, entry in expectations.items()]
    return pd.DataFrame(rows, columns=["arm", "low", "high", "because"])
