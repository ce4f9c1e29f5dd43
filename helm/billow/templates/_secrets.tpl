{{/* Content of the secrets that the chart makes, base64. */}}

{{/* users.conf of the built-in NATS. */}}
{{- define "billow.users" -}}
{{- .Values.nats.builtin.users | default (.Files.Get "files/users.conf") -}}
{{- end -}}

{{/* Names of the users in it, as JSON: {"items": [...]}. */}}
{{- define "billow.userNames" -}}
{{- $names := list -}}
{{- range regexFindAll "user: \"[^\"]+\"" (include "billow.users" .) -1 -}}
{{- $names = append $names (. | trimPrefix "user: " | trimAll "\"") -}}
{{- end -}}
{{- dict "items" $names | toJson -}}
{{- end -}}

{{- define "billow.natsPasswords" -}}
{{- $data := dict -}}
{{- range $user, $password := .Values.nats.auth.passwords -}}
{{- $_ := set $data (include "billow.passwordKey" $user) ($password | b64enc) -}}
{{- end -}}
{{- if .Values.nats.builtin.enabled -}}
  {{- $kept := (lookup "v1" "Secret" .Release.Namespace (include "billow.natsSecret" .)).data | default dict -}}
  {{- range (include "billow.userNames" . | fromJson).items -}}
    {{- $key := include "billow.passwordKey" . -}}
    {{- /* nats-server reads a variable as it reads its file: a text that begins with a digit is no text there. */ -}}
    {{- if not (hasKey $data $key) }}{{ $_ := set $data $key (index $kept $key | default (printf "p%s" (randAlphaNum 31) | b64enc)) }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- toYaml $data -}}
{{- end -}}

{{- define "billow.databaseData" -}}
{{- if .Values.database.builtin.enabled -}}
  {{- $kept := (lookup "v1" "Secret" .Release.Namespace (include "billow.databaseSecret" .)).data | default dict -}}
  {{- $old := index $kept "password" | default "" | b64dec -}}
  {{- if and .Values.database.builtin.password $old (ne $old .Values.database.builtin.password) -}}
    {{- fail (printf "values that do not fit together:\n- database.builtin.password: PostgreSQL keeps the password that it was made with; change it there (ALTER ROLE billow PASSWORD '...') and under `password` of the secret %s, then here" (include "billow.databaseSecret" .)) -}}
  {{- end -}}
  {{- $password := .Values.database.builtin.password | default $old | default (randAlphaNum 32) -}}
  {{- $host := printf "%s-postgres:5432" (include "billow.fullname" .) -}}
password: {{ $password | b64enc }}
url: {{ printf "postgresql+asyncpg://billow:%s@%s/billow" $password $host | b64enc }}
{{- else -}}
url: {{ .Values.database.url | b64enc }}
{{- end -}}
{{- end -}}

{{/* Passwords and URL of the values that a component reads when it starts; empty where it has none of them. Input: root, user,
database. */}}
{{- define "billow.givenSecrets" -}}
{{- $given := list -}}
{{- with index .root.Values.nats.auth.passwords .user }}{{ $given = append $given . }}{{ end -}}
{{- if .database }}
  {{- with (ternary .root.Values.database.builtin.password .root.Values.database.url .root.Values.database.builtin.enabled) }}{{ $given = append $given . }}{{ end -}}
{{- end -}}
{{- if $given }}{{ toJson $given }}{{ end -}}
{{- end -}}
