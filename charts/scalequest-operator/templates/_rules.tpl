{{- /* Exactly RULES and LEASE_RULES of operator/scalequest_operator/cluster.py; a test holds them together. */ -}}
{{- define "scalequest.rules" -}}
- apiGroups: [scalequest.io]
  resources: [scalequestruns]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [scalequest.io]
  resources: [scalequestruns/status]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [events]
  verbs: [create, list]
{{- end -}}

{{- define "scalequest.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, create, update]
{{- end -}}

{{- define "scalequest.subjects" -}}
- kind: ServiceAccount
  name: {{ include "scalequest.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
