"""Programs that embed the core, as authors of drivers, proxies and servers would write them; each is run."""
