"""nginx configurations as ingress-nginx and Nginx Proxy Manager generate them from the text that `docs/ingress-nginx.md` and
`docs/nginx-proxy-manager.md` show to paste.

The templates here have the relevant parts of the templates of these products. The pasted text is read from the pages.
"""

import itertools
import re
from base64 import urlsafe_b64encode
from dataclasses import replace
from urllib.parse import urlsplit

import yaml
from harness import ROOT
from servers import KINDS, PRIVATE, PUBLIC, Kind, with_recipe

(NGINX,) = [kind for kind in KINDS if kind.name == "nginx"]
VERIFY_HOST = "sealjar.default.svc.cluster.local"


def blocks(page: str, language: str) -> list:
    """Returns the code blocks of a page that have this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)


def framed(http: str) -> Kind:
    """Returns nginx with this `http` block. A name such as <port> is replaced by the value for the test."""
    start = NGINX.main.partition("    include")[0]
    text = re.sub(r"<(\w+)>", r"{\1}", http.replace("{", "{{").replace("}", "}}"))
    return replace(NGINX, main=f"{start}\n{text}\n}}}}\n")


# Nginx Proxy Manager 2.15.1: nginx.conf, proxy_host.conf and conf.d/include/proxy.conf.

MANAGER = """
    proxy_connect_timeout 90s; proxy_send_timeout 90s; proxy_read_timeout 90s; client_max_body_size 2000m;
    proxy_http_version 1.1;
    proxy_set_header X-Forwarded-Scheme $scheme;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header Accept-Encoding "";
    map $host $forward_scheme { default http; }
    real_ip_header X-Real-IP; real_ip_recursive on; set_real_ip_from 127.0.0.0/8;
    include <here>/sealjar.conf;
    server {
        set $forward_scheme http; set $server "127.0.0.1"; set $port <app>;
        listen 127.0.0.1:<port> ssl; server_name app.example.com;
        ssl_certificate <here>/cert.pem; ssl_certificate_key <here>/key.pem;
        add_header Strict-Transport-Security max-age=63072000 always;
        ADVANCED
        CUSTOM
    }
"""
CUSTOM_LOCATION = """
        location /custom/ {
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_pass http://127.0.0.1:<app>;
        }
"""
# The product finds a default location in the pasted text by this expression. Then it generates none itself.
DEFAULT_LOCATION = re.compile(r"^(?:.*;)?\s*?location\s*?/\s*?{", re.IGNORECASE | re.MULTILINE)


def recipe(name: str, proxy_pass: str) -> str:
    """Returns a recipe of the host's file, with another `proxy_pass`, as the page says."""
    lines = (ROOT / "deploy/nginx/app.example.com.conf").read_text().splitlines()
    code = itertools.takewhile(lambda line: line.strip().startswith("#"), lines[lines.index(f"    # {name}:") + 1 :])
    return "\n".join(line.replace("#", "", 1) for line in code).replace("proxy_pass http://app;", proxy_pass)


def manager(recipe_of_pages: str = "") -> Kind:
    text, more = blocks("nginx-proxy-manager.md", "nginx")
    assert DEFAULT_LOCATION.search(text)
    assert "snippets/sealjar-host.conf" in text
    text = text.replace("include snippets/", "include <here>/") + recipe(PUBLIC, re.search(r"proxy_pass \$.*;", text)[0])
    text += more if recipe_of_pages == PRIVATE else ""
    return framed(MANAGER.replace("ADVANCED", text).replace("CUSTOM", CUSTOM_LOCATION))


# ingress-nginx 1.15.1: rootfs/etc/nginx/template/nginx.tmpl.

INGRESS = """
    underscores_in_headers off; ignore_invalid_headers on;
    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
    map $proxy_upstream_name $backend { default-sealjar-8080 127.0.0.1:<sealjar>; shop-app-80 127.0.0.1:<app>; }
    HTTP_SNIPPET
    server {
        listen 127.0.0.1:<port> ssl; server_name app.example.com;
        ssl_certificate <here>/cert.pem; ssl_certificate_key <here>/key.pem;
        set $proxy_upstream_name "-";
        LOCATIONS
        SERVER_SNIPPET
    }
"""
VERIFY_LOCATION = """
        location = AUTH_PATH {
            internal;
            set $proxy_upstream_name "UPSTREAM";
            proxy_intercept_errors off;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header X-Forwarded-Proto "";
            proxy_set_header X-Request-ID $request_id;
            proxy_set_header Host AUTH_HOST;
            proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
            proxy_set_header X-Original-Method $request_method;
            proxy_set_header X-Sent-From "nginx-ingress-controller";
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Auth-Request-Redirect $request_uri;
            proxy_buffering off;
            proxy_pass_request_headers on;
            client_max_body_size BODY_SIZE;
            proxy_http_version 1.1;
            set $target "AUTH_URL";
            proxy_pass $target;
        }
"""
AUTH_REQUEST = """
            auth_request AUTH_PATH;
            auth_request_set $auth_cookie $upstream_http_set_cookie;
            add_header Set-Cookie $auth_cookie always;
"""
LOCATION = """
        location "PATH" {
            set $proxy_upstream_name "UPSTREAM";
            set $proxy_host $proxy_upstream_name;
            AUTH_REQUEST
            client_max_body_size BODY_SIZE;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Request-ID $request_id;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Port $server_port;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Scheme $scheme;
            proxy_set_header X-Scheme $scheme;
            proxy_set_header X-Original-Forwarded-For $http_x_forwarded_for;
            proxy_set_header X-Original-Forwarded-Host $http_x_forwarded_host;
            proxy_set_header Proxy "";
            PROXY_SET_HEADERS
            proxy_connect_timeout 5s;
            proxy_send_timeout SEND_TIMEOUTs;
            proxy_read_timeout READ_TIMEOUTs;
            proxy_buffering off;
            proxy_request_buffering on;
            proxy_http_version 1.1;
            LOCATION_SNIPPET
            proxy_pass http://$backend;
        }
"""


def ingress_page() -> tuple:
    """Returns the Helm values of the controller and the Ingress resources that the page shows."""
    values, ingresses = blocks("ingress-nginx.md", "yaml")
    return yaml.safe_load(values)["controller"], list(yaml.safe_load_all(ingresses))


def ingress(recipe_of_pages: str = "") -> Kind:
    values, ingresses = ingress_page()
    if recipe_of_pages:
        snippet = with_recipe(values["config"]["location-snippet"], recipe_of_pages)
        assert snippet != values["config"]["location-snippet"], f"the page does not show {recipe_of_pages}"
        values["config"]["location-snippet"] = snippet
    config = values["config"]
    (mount,) = values["extraVolumeMounts"]
    text = INGRESS.replace("HTTP_SNIPPET", config["http-snippet"].replace(mount["mountPath"], "<here>"))
    text = text.replace("SERVER_SNIPPET", config["server-snippet"])
    locations = "".join(locations_of(ingress, values) for ingress in [*ingresses, public(ingresses[-1])])
    return framed(text.replace("LOCATIONS", locations))


def public(ingress: dict) -> dict:
    """Returns the Ingress of a public path of the same application, as the page says."""
    annotations = {name: value for name, value in ingress["metadata"]["annotations"].items() if "/auth-" not in name}
    text = yaml.safe_dump({**ingress, "metadata": {**ingress["metadata"], "annotations": annotations}})
    return yaml.safe_load(text.replace("path: /", "path: /public/"))


def locations_of(ingress: dict, values: dict) -> str:
    (paths,) = [rule["http"]["paths"] for rule in ingress["spec"]["rules"]]
    return "".join(location_of(path, ingress, values) for path in paths)


def location_of(path: dict, ingress: dict, values: dict) -> str:
    prefix = "nginx.ingress.kubernetes.io/"
    annotations = {name.removeprefix(prefix): value for name, value in ingress["metadata"].get("annotations", {}).items()}
    service = path["backend"]["service"]
    upstream = f"{ingress['metadata']['namespace']}-{service['name']}-{service['port']['number']}"
    auth_request = ""
    verify_location = ""
    if url := annotations.get("auth-url"):
        host, authority = urlsplit(url).hostname, urlsplit(url).netloc
        assert authority == f"{VERIFY_HOST}:8080"
        auth_request = AUTH_REQUEST
        verify_location = VERIFY_LOCATION
        headers = [name.strip() for name in annotations["auth-response-headers"].split(",")]
        for number, name in enumerate(headers):
            variable = name.lower().replace("-", "_")
            auth_request += f"auth_request_set $authHeader{number} $upstream_http_{variable};\n"
            auth_request += f"proxy_set_header '{name}' $authHeader{number};\n"
        encoded = urlsafe_b64encode(path["path"].encode()).decode().rstrip("=")
        target = url.replace(authority, "127.0.0.1:<sealjar>")
        path_of_location = f"/_external-auth-{encoded}-Prefix"
        verify_location = verify_location.replace("AUTH_HOST", host).replace("AUTH_URL", target)
        verify_location = verify_location.replace("AUTH_PATH", path_of_location)
        auth_request = auth_request.replace("AUTH_PATH", path_of_location)
    replaced = {
        "AUTH_REQUEST": auth_request,
        "PATH": path["path"],
        "PROXY_SET_HEADERS": "".join(
            f'proxy_set_header {name} "{value}";\n' for name, value in values["proxySetHeaders"].items()
        ),
        "UPSTREAM": upstream,
        "BODY_SIZE": annotations.get("proxy-body-size", "1m"),
        "SEND_TIMEOUT": annotations.get("proxy-send-timeout", "60"),
        "READ_TIMEOUT": annotations.get("proxy-read-timeout", "60"),
        "LOCATION_SNIPPET": values["config"]["location-snippet"],
    }
    text = verify_location + (LOCATION.replace("location ", "location = ") if path["pathType"] == "Exact" else LOCATION)
    for name, value in replaced.items():
        text = re.sub(rf"(?<![A-Z_]){name}", lambda _: value, text)
    return text


PRODUCTS = {"ingress-nginx": ingress, "nginx-proxy-manager": manager}
