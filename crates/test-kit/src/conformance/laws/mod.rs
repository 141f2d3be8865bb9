mod conservation;
mod layer;
mod redial;
mod session;
mod traffic;
mod transparent;
