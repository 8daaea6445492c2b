"""Run the stress loop with many seeds on a dask.distributed cluster: any executor with the interface will do.

Run: pip install distributed; python examples/stress_cluster.py [--scheduler tcp://host:8786] --seeds 100
"""

import argparse

try:
    from distributed import Client, LocalCluster
except ModuleNotFoundError:
    raise SystemExit("this needs a cluster's client: pip install distributed") from None

from gicv3.stress import StressConfig, run_seeds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scheduler", help="address of a scheduler; by default a cluster on this machine")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--cycles", type=int, default=10_000)
    arguments = parser.parse_args()
    cluster = arguments.scheduler or LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with Client(cluster) as client:
        reports = run_seeds(StressConfig(cycles=arguments.cycles), range(1, 1 + arguments.seeds), client.get_executor())
    for report in reports:
        print(report)
    if arguments.scheduler is None:
        cluster.close()
    return sum(not report.ok for report in reports)


if __name__ == "__main__":
    raise SystemExit(main())
