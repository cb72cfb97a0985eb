//! Examples of Sworm; see the files beside this folder.
