# An image with the `sealjar` command, for clusters and single machines: docs/installing.md says how to run it. The project's tests
# lint this file and check what it copies; they cannot build it, because they have no container engine.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --profile dist

FROM debian:bookworm-slim
# The certificates are for TLS to a database.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && install -d -m 700 -o 10001 -g 10001 /var/lib/sealjar
COPY --from=build /src/target/dist/sealjar /usr/local/bin/sealjar
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
# Where `keys` and `sealjar.db` are, unless settings say otherwise.
WORKDIR /var/lib/sealjar
VOLUME /var/lib/sealjar
# Public routes, and /healthz, /readyz and /metrics, which ask nobody who they are: do not publish the second.
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
# Variables, so that `sealjar ready` and the other commands in the container have them too. They override a configuration file.
ENV SEALJAR_HTTP__LISTEN=0.0.0.0:8080 SEALJAR_HTTP__ADMIN_LISTEN=0.0.0.0:8081
# The answer takes milliseconds, and `sealjar ready` waits for at most two seconds. A failure in the start period does not count:
# the server reads the revocation list first, which takes seconds for a million entries.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/usr/local/bin/sealjar", "ready"]
ENTRYPOINT ["/usr/local/bin/sealjar"]
CMD ["serve"]
