"""What a scraper reads from GET /metrics."""

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def samples(page: bytes) -> Samples:
    """The samples of a page in Prometheus's text format, by name and labels. Raises ValueError for another format."""
    families = text_string_to_metric_families(page.decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def names(page: bytes) -> set[str]:
    """The names of the metrics that the page describes, as queries have them but for a histogram's endings."""
    families = text_string_to_metric_families(page.decode())
    return {family.name + "_total" * (family.type == "counter") for family in families}


def value(found: Samples, name: str, **labels: str) -> float:
    """One sample, 0 where there is none."""
    return found.get((name, frozenset(labels.items())), 0.0)
