"""Datasets: in memory, in and out of formats, fetched and checked."""
