//! Tasks beside a controller.

use std::{future::Future, pin::pin};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Drives `controller` to its end with `tasks` beside it, which are ended with it. Returns early when one of them panics, or ends
/// although nobody asked for `shutdown`: without it the controller would go on, and half of its work be left undone in silence.
/// Whoever runs the controller sees it end, and ends the process.
pub async fn beside(controller: impl Future<Output = ()>, mut tasks: JoinSet<()>, shutdown: &CancellationToken) {
    let mut controller = pin!(controller);
    loop {
        tokio::select! {
            () = &mut controller => return,
            Some(ended) = tasks.join_next() => {
                if let Err(error) = &ended {
                    tracing::error!("a task of a controller broke off: {error}");
                }
                if !shutdown.is_cancelled() {
                    tracing::error!("a task of a controller ended by itself, so the controller ends");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use super::*;

    async fn returns(controller: impl Future<Output = ()>, tasks: JoinSet<()>, shutdown: &CancellationToken) -> bool {
        tokio::time::timeout(Duration::from_millis(200), beside(controller, tasks, shutdown)).await.is_ok()
    }

    #[tokio::test]
    async fn a_task_that_panics_or_ends_takes_the_controller_along() {
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(pending());
        assert!(!returns(pending(), tasks, &shutdown).await, "all is well");
        for panics in [false, true] {
            let mut tasks = JoinSet::new();
            tasks.spawn(pending());
            tasks.spawn(async move { assert!(!panics, "broken") });
            assert!(returns(pending(), tasks, &shutdown).await, "{panics}");
        }
    }

    #[tokio::test]
    async fn tasks_that_end_when_told_to_leave_the_controller_its_time_and_end_with_it() {
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(shutdown.clone().cancelled_owned());
        let guard = shutdown.clone();
        let (alive, gone) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn(async move {
            let _alive = alive;
            pending::<()>().await;
        });
        let passes = async {
            guard.cancel();
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let mut passes_ended = false;
        beside(
            async {
                passes.await;
                passes_ended = true;
            },
            tasks,
            &shutdown,
        )
        .await;
        assert!(passes_ended);
        assert!(gone.await.is_err(), "the task is gone, too");
    }
}
