import Testing

/// Clusters of real processes: the built `martlet`, a real etcd, certificates between the nodes,
/// and people who use `MartletClient`. One test at a time, each with a cluster of its own.
@Suite(.serialized, .timeLimit(.minutes(5))) enum RealProcesses {}
