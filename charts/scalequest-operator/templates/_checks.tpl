{{- /* What the schema cannot say: each folder that a store names is mounted. `helm lint` does not stop at these. */ -}}
{{- define "scalequest.checks" -}}
{{- $configuration := .Values.configuration -}}
{{- if not $configuration.stores -}}
{{- fail "configuration.stores is empty: give at least one S3 server, with endpoint and credentialsFolder" -}}
{{- end -}}
{{- if not $configuration.profiles -}}
{{- fail "configuration.profiles is empty: give at least one profile; runs that name none use `default`" -}}
{{- end -}}
{{- $others := list -}}
{{- range .Values.pod.volumeMounts }}{{ $others = append $others .mountPath }}{{ end -}}
{{- $credentials := $others -}}
{{- range .Values.storeCredentials }}{{ $credentials = append $credentials .folder }}{{ end -}}
{{- $authorities := $others -}}
{{- range .Values.storeAuthorities }}{{ $authorities = append $authorities .folder }}{{ end -}}
{{- range $index, $store := $configuration.stores -}}
{{- if not (has $store.credentialsFolder $credentials) -}}
{{- fail (printf "configuration.stores[%d].credentialsFolder is %s, which nothing mounts: add {secret: NAME, folder: %s} to storeCredentials" $index $store.credentialsFolder $store.credentialsFolder) -}}
{{- end -}}
{{- if and $store.caFile (not (has (dir $store.caFile) $authorities)) -}}
{{- fail (printf "configuration.stores[%d].caFile is %s, whose folder nothing mounts: add {configMap: NAME, folder: %s} to storeAuthorities" $index $store.caFile (dir $store.caFile)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
