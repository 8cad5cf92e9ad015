// Judges documents of the Prometheus operator by its own schemas: node operator.mjs documents.json
import { readFileSync } from "node:fs";
import { PrometheusRule, ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";

const kinds = { PrometheusRule, ServiceMonitor };
try {
  for (const document of JSON.parse(readFileSync(process.argv[2], "utf-8"))) new kinds[document.kind](document).validate();
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
