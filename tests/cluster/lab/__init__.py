"""A real Kubernetes cluster on one Linux machine, for tests and the demo.

etcd, the API server, the controller manager and the scheduler run as plain processes. Each node is a kubelet with containerd and
runc in namespaces of its own, joined to the others by a bridge; its GPUs are a number in its status. An S3 server stands beside.
With no nodes the control plane runs alone, on the loopback interface and without root.

`cluster.Cluster` is the way in; `layout` names every address and folder; `control_plane`, `node`, `network` and `object_store` each
know one part; `processes` starts and finds processes; `images` builds and loads container images; `tools` builds Kubernetes.

Law: nothing outlives `down`, and nothing acts on import.
"""
