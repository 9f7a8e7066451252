# An image with the `sealjar` command, for clusters and single machines. docs/installing.md describes how to run it. The tests of
# the project lint this file and check the files that it copies. They do not build the image, because they have no container
# engine.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --profile dist

FROM debian:bookworm-slim
# The CA certificates are for TLS connections to a database.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && install -d -m 700 -o 10001 -g 10001 /var/lib/sealjar
COPY --from=build /src/target/dist/sealjar /usr/local/bin/sealjar
# A numeric user, because Kubernetes can check only a number for `runAsNonRoot`.
USER 10001:10001
# The default directory of `keys` and `sealjar.db`.
WORKDIR /var/lib/sealjar
VOLUME /var/lib/sealjar
# 8080 has the public routes. 8081 has /healthz, /readyz and /metrics without authentication: do not publish it.
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
# Environment variables also apply to `sealjar ready` and the other commands in the container. They take precedence over a
# configuration file.
ENV SEALJAR_HTTP__LISTEN=0.0.0.0:8080 SEALJAR_HTTP__ADMIN_LISTEN=0.0.0.0:8081
# The response takes milliseconds, and `sealjar ready` waits for at most two seconds. A failure in the start period does not
# count, because the server reads the revocation list first. That takes seconds for a million entries.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/usr/local/bin/sealjar", "ready"]
ENTRYPOINT ["/usr/local/bin/sealjar"]
CMD ["serve"]
