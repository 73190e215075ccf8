/** Folds package reports into the answer that the demo shows and checks. Pure: the same reports in any order give the same answer. */
import type { PackageReport } from './analyse.js';

export interface Summary {
  readonly packages: number;
  readonly files: number;
  readonly bytes: number;
  /** Licence → number of packages, most frequent first. */
  readonly licences: readonly (readonly [licence: string, packages: number])[];
  /** The ten largest. */
  readonly biggest: readonly { readonly package: string; readonly bytes: number; readonly files: number }[];
  readonly suspicious: readonly { readonly package: string; readonly why: readonly string[] }[];
  /** All reports, by path: what the check compares. */
  readonly reports: readonly PackageReport[];
}

const BIGGEST = 10;
const label = ({ name, version }: PackageReport): string => `${name}@${version}`;

export function summarise(found: readonly PackageReport[]): Summary {
  const reports = [...found].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  const licences = new Map<string, number>();
  for (const { licence } of reports) licences.set(licence, (licences.get(licence) ?? 0) + 1);
  const bySize = [...reports].sort((a, b) => b.bytes - a.bytes || (a.path < b.path ? -1 : 1));
  return {
    packages: reports.length,
    files: reports.reduce((sum, report) => sum + report.files, 0),
    bytes: reports.reduce((sum, report) => sum + report.bytes, 0),
    licences: [...licences].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)),
    biggest: bySize.slice(0, BIGGEST).map((report) => ({ package: label(report), bytes: report.bytes, files: report.files })),
    suspicious: reports
      .filter(({ suspicious }) => suspicious.length > 0)
      .map((report) => ({ package: label(report), why: report.suspicious })),
    reports,
  };
}

/** What differs between two summaries, in words; empty when they are the same. */
export function differences(expected: Summary, actual: Summary): string[] {
  const byPath = new Map(actual.reports.map((report) => [report.path, JSON.stringify(report)]));
  const lines = expected.reports.flatMap((report) => {
    const other = byPath.get(report.path);
    byPath.delete(report.path);
    if (other === undefined) return [`${report.path}: no result`];
    return other === JSON.stringify(report) ? [] : [`${report.path}: ${other} instead of ${JSON.stringify(report)}`];
  });
  for (const path of byPath.keys()) lines.push(`${path}: a result for a package that is not there`);
  return lines;
}
