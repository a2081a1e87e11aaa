"""Parses the response of GET /metrics like a scraper."""

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def samples(page: bytes) -> Samples:
    """Parse Prometheus's text format. Return the samples by name and labels. Raise ValueError for another format."""
    families = text_string_to_metric_families(page.decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def names(page: bytes) -> set[str]:
    """Return the names of the page's metrics as used in queries, but without the suffixes of histograms."""
    families = text_string_to_metric_families(page.decode())
    return {f"{family.name}_total" if family.type == "counter" else family.name for family in families}


def value(page: Samples, name: str, **labels: str) -> float:
    """Return one sample, or 0 if it does not exist."""
    return page.get((name, frozenset(labels.items())), 0.0)
