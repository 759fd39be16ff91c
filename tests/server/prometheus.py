"""A server's metrics as a scraper reads them."""

from prometheus_client.parser import text_string_to_metric_families


def scrape(server):
    """Samples by name and labels: `{("gradus:x_total", ("reason", "y")): 1.0}`."""
    response = server.http.get("/metrics")
    assert response.status_code == 200
    return {
        (sample.name, *(pair for pair in sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def value(samples, name, **labels):
    return samples[f"gradus:{name}", *labels.items()]
