//! The routes of people: those who may log in to the dashboard, and what they do about themselves.
//!
//! Constant data; a crash has nothing to lose.

use http::Method;

use super::{Body, Route, Shown, delete, get, post};

/// People who may log in to the dashboard.
pub(super) fn operators() -> Vec<Route> {
    use Body::{Flat as Into, Whole as All};
    use Shown::{Flat, Whole};
    let shown = Flat("operator");
    vec![
        post("/v1/operators", "OperatorService.CreateOperator", Into("operator"), shown, 201),
        get("/v1/operators", "OperatorService.ListOperators", Whole),
        Route {
            method: Method::PATCH,
            ..post("/v1/operators/{id}", "OperatorService.UpdateOperator", All, shown, 200)
        },
        post("/v1/operators/{id}/reset", "OperatorService.ResetOperator", All, shown, 200),
        delete("/v1/operators/{id}", "OperatorService.DeleteOperator"),
    ]
}

/// What people do about themselves. Only with `authorization: Operator <session>`, except logging in.
pub(super) fn oneself() -> Vec<Route> {
    use Body::Whole as All;
    use Shown::{Nothing, Whole};
    vec![
        post("/v1/session", "OperatorService.LogIn", All, Whole, 200),
        delete("/v1/session", "OperatorService.LogOut"),
        get("/v1/session", "OperatorService.GetOwnOperator", Whole),
        post("/v1/session/password", "OperatorService.ChangeOwnPassword", All, Nothing, 204),
        post("/v1/session/totp", "OperatorService.StartTotp", All, Whole, 200),
        post("/v1/session/totp/confirm", "OperatorService.ConfirmTotp", All, Nothing, 204),
        post("/v1/session/totp/stop", "OperatorService.StopTotp", All, Nothing, 204),
    ]
}
