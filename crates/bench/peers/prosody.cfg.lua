-- prosody: TLS alone, no limits. In {{curly}} stands what a run fills in.
run_as_root = true
data_path = "{{dir}}"
pidfile = "{{dir}}/prosody.pid"
interfaces = { "127.0.0.1" }
c2s_ports = { }
s2s_ports = { }
c2s_direct_tls_ports = { {{port}} }
c2s_timeout = 3600

network_backend = "epoll"
network_settings = { tcp_backlog = 4096; nagle = false; opportunistic_writes = true; }
gc = { mode = "generational"; }

modules_enabled = { "saslauth"; "tls"; }
modules_disabled = { "s2s"; "offline"; "posix"; "limits"; }
authentication = "internal_plain"
storage = "internal"
log = { error = "{{dir}}/log" }

ssl = { certificate = "{{certificate}}"; key = "{{key}}"; protocol = "tlsv1_3"; }
VirtualHost "localhost"
